"""Reading untrusted JSON and YAML, and writing files and folders atomically."""
