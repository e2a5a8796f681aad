"""The label sets that EditGAN and DatasetGAN were published with. The position of a name is its label id."""

from __future__ import annotations

from .labels import LabelSet, default_palette

_CAR_32 = (
    "background #ffffff, back_bumper #eee566, bumper #000000, car_body #7c6322, car_light_right #c17f0f, "
    "car_light_left #6ab115, door_back #f8d52a, fender #fc9b53, door_front #dc934d, grilles #635303, back_handle "
    "#74748a, front_handle #3fb618, hood #c8e225, license_plate_front #e1b8a1, license_plate_back #e905db, logo "
    "#8eacf8, mirror #997092, roof #2670fe, running_boards #e51e8d, taillight_right #73d083, taillight_left #345354, "
    "back_wheel #e53f6e, front_wheel #c2577d, trunk #e16012, wheelhub_back #498be2, wheelhub_front #ac8f10, "
    "spoke_back #a9656f, spoke_front #1f66d3, door_window_back #688365, back_windshield #46a89c, door_window_front "
    "#b7f2d1, windshield #48b8e2"
)
_CAR_20 = (
    "background, back_bumper, bumper, car_body, car_lights, door, fender, grilles, handles, hoods, licensePlate, "
    "mirror, roof, running_boards, tailLight, tire, trunk_lids, wheelhub, window, windshield"
)
_FACE_34 = (
    "background, head, cheek, chin, ear, ear helix, ear lobule, eye bottom lid, eyelashes, iris, pupil, sclera, tear "
    "duct, eye top lid, eyebrow, forehead, frown, hair, sideburns, jaw, moustache, inferior lip, oral commissure, "
    "superior lip, teeth, neck, nose, ala of nose, bridge, nose tip, nostril, philtrum, temple, wrinkles"
)


def _coloured(text: str) -> LabelSet:
    names, colours = zip(*(part.split(" #") for part in text.split(", ")), strict=True)
    return LabelSet(names, tuple((value[0], value[1], value[2]) for value in map(bytes.fromhex, colours)))


def _named(text: str) -> LabelSet:
    names = tuple(text.split(", "))
    return LabelSet(names, default_palette(len(names)))


CAR_32, CAR_20, FACE_34 = _coloured(_CAR_32), _named(_CAR_20), _named(_FACE_34)
OFFICIAL = {len(labels): labels for labels in (CAR_32, CAR_20, FACE_34)}
"""By number of labels."""
