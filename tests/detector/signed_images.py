"""Images with content credentials, signed on the spot with a certificate chain made on the spot."""

import datetime
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

PIXELS = np.random.default_rng(0).integers(0, 256, size=(48, 64, 3), dtype=np.uint8)
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
CREATED = {"action": "c2pa.created", "when": "2026-11-01T10:00:00Z", "digitalSourceType": GENERATED}


def plain(container: str = "JPEG", **options: Any) -> bytes:
    """Return an image without credentials."""
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, container, **options)
    return stream.getvalue()


@dataclass(frozen=True)
class Signer:
    """A root and a signing certificate below it, as the C2PA certificate profile wants them (2.2, section 14.5)."""

    name: str = "Toy Signer"
    organisation: str = "Toy Works"
    valid_days: int = 30

    @cached_property
    def _keys(self) -> tuple[ec.EllipticCurvePrivateKey, ec.EllipticCurvePrivateKey]:
        return ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    @cached_property
    def root(self) -> bytes:
        """The root certificate, PEM."""
        key = self._keys[0]
        return self._certificate(_name("Toy Root", "Toy Authority"), key, key, authority=True)

    @cached_property
    def chain(self) -> bytes:
        """The signing certificate and the root, PEM."""
        return self._certificate(_name(self.name, self.organisation), self._keys[1], self._keys[0]) + self.root

    def signed(
        self,
        container: str = "JPEG",
        *,
        action: Mapping[str, Any] = CREATED,
        remote_url: str = "",
        embedded: bool = True,
        image: bytes | None = None,
    ) -> bytes:
        """Return an image with a manifest that this signer signed."""
        from c2pa import Builder, C2paSignerInfo, C2paSigningAlg
        from c2pa import Signer as Signing

        mime, target = f"image/{container.lower()}", io.BytesIO()
        data = {"actions": [{**action, "softwareAgent": {"name": "toy diffusion"}}]}
        builder = Builder(
            json.dumps(
                {
                    "claim_generator_info": [{"name": "toy generator", "version": "1.0"}],
                    "format": mime,
                    "assertions": [{"label": "c2pa.actions", "data": data}],
                }
            )
        )
        if remote_url:
            builder.set_remote_url(remote_url)
        if not embedded:
            builder.set_no_embed()
        key = self._keys[1].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with Signing.from_info(C2paSignerInfo(C2paSigningAlg.ES256, self.chain, key, None)) as signing:
            builder.sign(signing, mime, io.BytesIO(image or plain(container)), target)
        return target.getvalue()

    def _certificate(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        issuer_key: ec.EllipticCurvePrivateKey,
        *,
        authority: bool = False,
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        usages = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
        )
        usage = x509.KeyUsage(
            digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, decipher_only=False, **usages
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(_name("Toy Root", "Toy Authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=self.valid_days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        )
        if not authority:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
            )
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _name(common: str, organisation: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )
