"""Recognition of human activity from curves of rotations: inertial sensors and tracked bodies."""
