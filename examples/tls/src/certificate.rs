//! The server's certificate and its key.

use std::error::Error;
use std::fs;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Where the certificate of a first try is written.
const MADE: &str = "localhost.pem";

/// A certificate with those that lead to its root, and its key.
pub(crate) type Certified = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Reads the files of these names, in PEM. If there are none, makes a certificate for localhost.
pub(crate) fn load(names: Vec<String>) -> Result<Certified, Box<dyn Error>> {
    match &names[..] {
        [] => make(),
        [chain, key] => {
            let chain = CertificateDer::pem_file_iter(chain)?.collect::<Result<_, _>>()?;
            Ok((chain, PrivateKeyDer::from_pem_file(key)?))
        }
        _ => Err("usage: tls [CERTIFICATES.pem KEY.pem]".into()),
    }
}

/// Makes a certificate that is its own root. Its key is only in memory.
fn make() -> Result<Certified, Box<dyn Error>> {
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let made = rcgen::generate_simple_self_signed(names)?;
    fs::write(MADE, made.cert.pem())?;
    let key = made.signing_key.serialize_der();
    let key = PrivateKeyDer::try_from(key)?;
    Ok((vec![made.cert.der().clone()], key))
}
