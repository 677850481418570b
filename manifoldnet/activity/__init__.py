"""Recognition of human activity from curves of rotations: inertial sensors and tracked bodies."""

from manifoldnet.activity.model import ActivityClassifier

__all__ = ["ActivityClassifier"]
