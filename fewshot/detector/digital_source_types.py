"""Digital source types in words: how a file says that it came about (IPTC NewsCodes, C2PA 2.2 section 18.13)."""

_MEANINGS = {
    "trainedAlgorithmicMedia": "made by generative AI",
    "compositeWithTrainedAlgorithmicMedia": "edited with generative AI",
    "compositeSynthetic": "a composite that has synthetic parts",
    "trainedAlgorithmicData": "data made by a trained model",
    "algorithmicMedia": "made by an algorithm that was not trained on examples",
    "algorithmicallyEnhanced": "enhanced by an algorithm",
    "dataDrivenMedia": "made from data",
    "digitalCapture": "captured by a digital camera",
    "computationalCapture": "captured by a camera that merged several exposures",
    "compositeCapture": "a composite of captured images",
    "composite": "a composite",
    "negativeFilm": "digitised from a negative",
    "positiveFilm": "digitised from a transparency",
    "print": "digitised from a print",
    "screenCapture": "a capture of a screen",
    "virtualRecording": "a recording of a virtual event",
    "digitalCreation": "made by a person with digital tools",
    "digitalArt": "made by a person with digital tools",
    "humanEdits": "edited by a person",
    "minorHumanEdits": "edited a little by a person",
    "softwareImage": "made by software",
    "empty": "made from nothing",
}


def short_name(uri: str) -> str:
    """Return the last part of a source type's address.

    >>> short_name("http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia")
    'trainedAlgorithmicMedia'
    """
    return uri.rstrip("/").rpartition("/")[2]


def meaning(uri: str) -> str:
    """Return a source type in words; empty when it is not one of the vocabulary.

    >>> meaning("http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia")
    'made by generative AI'
    """
    return _MEANINGS.get(short_name(uri), "")
