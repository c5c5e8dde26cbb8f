"""What runs on the device: numpy, OpenCV and one inference engine; never torch."""
