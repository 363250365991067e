"""One metric a file: numbers in, numbers out."""
