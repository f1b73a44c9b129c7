//! The keys of an issuer of tokens, as a JSON Web Key Set (RFC 7517), and checking signatures with them.
//!
//! Each key has its algorithms, all of them asymmetric: what a token says of its algorithm only chooses among these. A
//! key of another kind is passed over, as the standard has it, so that issuers may have more keys than concern us.

use std::collections::HashMap;

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind,
    crypto::{CryptoProvider, JwtVerifier, KeyUtils},
    errors::{ErrorKind, Result as JwtResult},
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
    signature,
};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::Value;

/// How many keys are looked at.
const KEYS_MAX: usize = 1000;

/// Keys by their ids.
#[derive(Debug, Default, PartialEq)]
pub struct KeySet {
    by_id: HashMap<String, Key>,
    /// The only key of a set, if it has but one: for tokens that name none.
    only: Option<Key>,
}

/// A key, and the algorithms it is for.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) decoding: DecodingKey,
    pub(super) algorithms: Vec<Algorithm>,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let is_same = match (self.decoding.kind(), other.decoding.kind()) {
            (DecodingKeyKind::SecretOrDer(key), DecodingKeyKind::SecretOrDer(other)) => key == other,
            (
                DecodingKeyKind::RsaModulusExponent { n, e },
                DecodingKeyKind::RsaModulusExponent { n: other_n, e: other_e },
            ) => (n, e) == (other_n, other_e),
            _ => false,
        };
        is_same && self.algorithms == other.algorithms
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads the text of a set.
    ///
    /// # Errors
    ///
    /// If it is none, or has no key that is of use here.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let set: Set = serde_json::from_slice(text)
            .map_err(|error| format!("is no set of JSON Web Keys, such as {{\"keys\": […]}}: {error}"))?;
        let mut keys = Self::default();
        let mut found = 0_usize;
        for value in set.keys.into_iter().take(KEYS_MAX) {
            let Some((id, key)) = usable(value) else { continue };
            found += 1;
            keys.only = (found == 1).then(|| key.clone());
            if let Some(id) = id {
                keys.by_id.insert(id, key);
            }
        }
        if found == 0 {
            return Err(
                "has no key for signatures by RSA (2048 bits or more), P-256, P-384 or Ed25519".to_owned()
            );
        }
        Ok(keys)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty() && self.only.is_none()
    }

    /// The key of this id; without one, the only key there is.
    pub(super) fn find(&self, id: Option<&str>) -> Option<&Key> {
        match id {
            Some(id) => self.by_id.get(id),
            None => self.only.as_ref(),
        }
    }
}

/// A key with its id, if it is one for signatures that are checked here.
fn usable(value: Value) -> Option<(Option<String>, Key)> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let of_kind: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms(),
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        _ => return None,
    };
    let algorithms = match jwk.common.key_algorithm {
        None => of_kind.to_vec(),
        Some(own) => {
            let named = format!("{own:?}").parse().ok()?;
            if !of_kind.contains(&named) {
                return None;
            }
            vec![named]
        }
    };
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    Some((jwk.common.key_id, Key { decoding, algorithms }))
}

/// Signatures by ring, as TLS has them. Nothing is signed here.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: |algorithm, key| Ok(Box::new(Verifier::new(*algorithm, key)?)),
    key_utils: KeyUtils::new_unimplemented(),
};

/// Has signatures checked by ring from now on, in the whole process.
pub(super) fn use_ring() {
    // It may be so already.
    let _ = PROVIDER.install_default();
}

/// How the signatures of an algorithm are checked.
enum Method {
    Rsa(&'static RsaParameters),
    Other(&'static dyn VerificationAlgorithm),
}

struct Verifier {
    algorithm: Algorithm,
    method: Method,
    key: DecodingKey,
}

impl Verifier {
    fn new(algorithm: Algorithm, key: &DecodingKey) -> JwtResult<Self> {
        let (method, family) = match algorithm {
            Algorithm::RS256 => (Method::Rsa(&RSA_PKCS1_2048_8192_SHA256), AlgorithmFamily::Rsa),
            Algorithm::RS384 => (Method::Rsa(&RSA_PKCS1_2048_8192_SHA384), AlgorithmFamily::Rsa),
            Algorithm::RS512 => (Method::Rsa(&RSA_PKCS1_2048_8192_SHA512), AlgorithmFamily::Rsa),
            Algorithm::PS256 => (Method::Rsa(&RSA_PSS_2048_8192_SHA256), AlgorithmFamily::Rsa),
            Algorithm::PS384 => (Method::Rsa(&RSA_PSS_2048_8192_SHA384), AlgorithmFamily::Rsa),
            Algorithm::PS512 => (Method::Rsa(&RSA_PSS_2048_8192_SHA512), AlgorithmFamily::Rsa),
            Algorithm::ES256 => (Method::Other(&ECDSA_P256_SHA256_FIXED), AlgorithmFamily::Ec),
            Algorithm::ES384 => (Method::Other(&ECDSA_P384_SHA384_FIXED), AlgorithmFamily::Ec),
            Algorithm::EdDSA => (Method::Other(&ED25519), AlgorithmFamily::Ed),
            _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
        };
        if key.family() != family {
            return Err(ErrorKind::InvalidKeyFormat.into());
        }
        Ok(Self { algorithm, method, key: key.clone() })
    }
}

impl signature::Verifier<Vec<u8>> for Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let outcome = match (&self.method, self.key.kind()) {
            (Method::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Method::Rsa(parameters), DecodingKeyKind::SecretOrDer(der)) => {
                UnparsedPublicKey::new(*parameters, der).verify(message, signature)
            }
            (Method::Other(algorithm), DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(*algorithm, key).verify(message, signature)
            }
            (Method::Other(_), DecodingKeyKind::RsaModulusExponent { .. }) => {
                return Err(signature::Error::new());
            }
        };
        outcome.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Verifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the standards: RFC 7515, A.2 and A.3; RFC 8037, A.4.
    const EXAMPLES: &[(Algorithm, &str, &str, &str)] = &[
        (
            Algorithm::RS256,
            r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            Algorithm::ES256,
            r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            Algorithm::EdDSA,
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ];

    fn verify(algorithm: Algorithm, key: &Key, message: &str, signature: &str) -> bool {
        use_ring();
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.decoding, algorithm).unwrap_or(false)
    }

    fn set(keys: &[&str]) -> Result<KeySet, String> {
        KeySet::parse(format!("{{\"keys\": [{}]}}", keys.join(",")).as_bytes())
    }

    #[test]
    fn the_examples_of_the_standards_are_right() {
        for (algorithm, key, message, signature) in EXAMPLES {
            let keys = set(&[key]).unwrap();
            let key = keys.find(None).unwrap();
            assert!(key.algorithms.contains(algorithm));
            assert!(verify(*algorithm, key, message, signature));
            assert!(!verify(*algorithm, key, &message.replacen('e', "f", 1), signature));
            // A key is for its own kind.
            for (other, ..) in EXAMPLES.iter().filter(|(other, ..)| other != algorithm) {
                assert!(!verify(*other, key, message, signature));
            }
            assert!(!verify(Algorithm::HS256, key, message, signature));
        }
    }

    #[test]
    fn sets_are_equal_by_their_keys_in_whatever_order() {
        let [rsa, ec, ed] = [0, 1, 2].map(|example: usize| EXAMPLES[example].1);
        let named = |id: &str, key: &str| key.replacen('{', &format!(r#"{{"kid":"{id}","#), 1);
        let of = |keys: &[&str]| set(keys).unwrap();
        assert!(of(&[rsa]) == of(&[r#"{"kty":"oct","k":"c2VjcmV0"}"#, rsa]) && of(&[ec]) != of(&[ed]));
        let (a, b, c, other) = (named("a", rsa), named("b", ec), named("c", ed), named("a", ec));
        assert!(of(&[&a, &b]) == of(&[&b, &a]));
        for changed in [&[&*a][..], &[&b], &[&a, &other], &[&a, &b, &c], &[&other, &b]] {
            assert!(of(&[&a, &b]) != of(changed), "{changed:?}");
        }
        let modulus = rsa.replacen("ofgWCuLj", "ofgWCuLk", 1);
        let exponent = rsa.replacen("AQAB", "AQAD", 1);
        let algorithm = rsa.replacen('{', r#"{"alg":"RS256","#, 1);
        assert!([modulus, exponent, algorithm].iter().all(|changed| of(&[changed]) != of(&[rsa])));
    }

    #[test]
    fn keys_of_other_kinds_are_passed_over() {
        let ec = EXAMPLES[1].1;
        let with = |more: &str| ec.replacen('{', &format!("{{{more},"), 1);
        for useless in [
            r#"{"kty":"oct","k":"c2VjcmV0"}"#.to_owned(),
            r#"{"kty":"what","x":1}"#.to_owned(),
            "7".to_owned(),
            with(r#""use":"enc""#),
            with(r#""alg":"HS256""#),
            with(r#""alg":"RS256""#),
            with(r#""alg":"none""#),
        ] {
            assert!(set(&[&useless]).is_err(), "{useless}");
            assert!(set(&[&useless, ec]).unwrap().find(None).is_some());
        }
        let keys = set(&[&with(r#""kid":"a","alg":"ES256","use":"sig""#), &with(r#""kid":"b""#)]).unwrap();
        assert!(keys.find(Some("a")).is_some() && keys.find(Some("b")).is_some());
        assert!(keys.find(Some("c")).is_none() && keys.find(None).is_none());
        for wrong in ["", "{}", "[]", "{\"keys\": 1}"] {
            assert!(KeySet::parse(wrong.as_bytes()).unwrap_err().starts_with("is no set"), "{wrong}");
        }
    }
}
