"""Pictures of pipelines in time: pages for a browser, traces for Perfetto."""
