"""The bytes that workers and nodes exchange. Frames to values and back, no sockets."""
