"""What each backbone is for in a few words, and which to look at first: what ``fewshot list backbones`` leads with.

An opinion over all of them, so it stands in one place; docs/how-to/choose-a-backbone.md says what it rests on.
"""

LONGEST = 46  # characters, for a table of 100 columns

RECOMMENDED = ("efficientnet-lite0", "torchvision", "unifd", "fiser", "commfor", "ferretnet", "spectrum")

PURPOSES = {
    "aide": "simplest and richest patches beside all of it",
    "c2pclip": "CLIP tuned with category prompts",
    "clip": "controls: any CLIP of open_clip by name",
    "clipdet": "CommonPool's CLIP with a linear head",
    "clipdetection": "CLIP with a linear head, as benchmarks run it",
    "cnndetection": "the classic GAN detector, as a reference",
    "commfor": "a pretrained head of thousands of generators",
    "corvi2023": "traces at native size, without shrinking",
    "cospy": "what an image shows, and its residual",
    "dinov2": "control for large transformers, open licence",
    "dinov3": "control for fiser: the same network untuned",
    "dire": "error of a diffusion model's reconstruction",
    "dire-rgb": "DIRE's network on plain pixels, as published",
    "drct": "contrast with diffusion reconstructions",
    "efficientnet-lite0": "a first try on a laptop, and a control",
    "effort": "CLIP tuned in its smallest singular direction",
    "ferretnet": "low-level traces of files as they were made",
    "fiser": "few-shot adaptation: features trained for it",
    "fleet": "few-shot adaptation by routing two branches",
    "freqnet": "high frequencies of files as they were made",
    "fsd": "episodes: made for means of a few images",
    "gramnet": "texture statistics (Gram matrices)",
    "ladeda": "traces in patches of 9 x 9 native pixels",
    "lasted": "contrast with texts, on CLIP RN50x64",
    "lgrad": "gradients of a GAN's discriminator",
    "lota": "lowest bit planes of files as they were made",
    "npr": "up-sampling traces of files as they were made",
    "omnidfa": "which generator: made for telling them apart",
    "resnet50": "control: an ImageNet ResNet-50",
    "rine": "all 24 blocks of CLIP, weighed",
    "safe": "finest wavelet band of native pixels",
    "siglip": "control: image-text features other than CLIP's",
    "spai": "spectrum restored tile by tile, at any size",
    "spectrum": "control without weights: noise and spectrum",
    "timm": "controls: any model of timm by name",
    "tiny-ladeda": "native traces with 1,297 parameters",
    "torchvision": "controls by name; mobilenet_v2 led our results",
    "unifd": "few-shot adaptation on CLIP's general features",
    "vibnet": "an information bottleneck on CLIP",
}
