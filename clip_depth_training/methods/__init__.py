"""What can be trained: one method a file."""
