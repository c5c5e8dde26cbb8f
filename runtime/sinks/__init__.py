"""Where results go: video files, PNG masks, a window."""
