"""Colours and letters of all pictures."""

INK = "#1f2733"
MUTED = "#6b7480"
HAIRLINE = "#e3e6ea"
IDLE_FILL = "#f6f7f9"
IDLE_HATCH = "#c9cfd8"
FONT = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"

# Two tints of one hue: neighbouring chunks stay apart without a rainbow.
Tints = tuple[str, str]

FIXED_TINTS: Tints = ("#8292a8", "#9dabbe")
DYNAMIC_TINTS: Tints = ("#1d7f78", "#3a9c94")
POLICY_TINTS: dict[str, Tints] = {
    "dynamic": DYNAMIC_TINTS,
    "fixed": FIXED_TINTS,
    "sglang": ("#b0793b", "#c4945c"),
    "vllm-ascend": ("#9c4f63", "#b37083"),
    "atom": ("#6a5ea8", "#857bba"),
    "terapipe": ("#4d7f3f", "#6b9a5e"),
}
