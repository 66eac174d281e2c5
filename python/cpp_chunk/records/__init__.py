"""Records: files that outlive a process, and how a private file is written."""
