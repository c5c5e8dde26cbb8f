"""Where frames come from: cameras, videos, image folders, streams and synthetic scenes."""
