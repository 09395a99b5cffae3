//! [`Network`]: addresses with a common prefix.

use std::net::IpAddr;

use crate::error::{Error, ErrorKind, Result};

/// The addresses whose first `prefix` bits are those of `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// An address alone, or with the length of a prefix: `10.0.0.0/8`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) => (address, Some(prefix)),
        };
        let wrong = || {
            Error::new(
                ErrorKind::Setting,
                format!("{text:?} is neither an IP address nor a network like 10.0.0.0/8"),
            )
        };
        let mut address: IpAddr = address.parse().map_err(|_| wrong())?;
        let mut prefix = match prefix {
            None => length(address),
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| wrong())?
            }
            Some(_) => return Err(wrong()),
        };
        if prefix > length(address) {
            return Err(wrong());
        }
        // Mapped addresses (::ffff:10.0.0.1) are IPv4 addresses.
        let canonical = address.to_canonical();
        if length(canonical) < length(address) && prefix >= MAPPED {
            (address, prefix) = (canonical, prefix - MAPPED);
        }
        let network = Self { address, prefix };
        let rest = length(address) - prefix;
        let begin = significant(address, prefix).checked_shl(rest).unwrap_or(0);
        if begin != bits(address) {
            return Err(Error::new(
                ErrorKind::Setting,
                format!(
                    "{text:?} has bits set after its prefix: the address or the prefix is wrong"
                ),
            ));
        }
        Ok(network)
    }

    /// Whether the network has this address, which is in its canonical form.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && significant(address, self.prefix) == significant(self.address, self.prefix)
    }
}

/// The length of the prefix of all mapped addresses, `::ffff:0:0/96` (RFC 4291 §2.5.5.2).
const MAPPED: u32 = 96;

/// The first `prefix` bits of the address.
fn significant(address: IpAddr, prefix: u32) -> u128 {
    let rest = length(address) - prefix;
    bits(address).checked_shr(rest).unwrap_or(0)
}

fn length(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => u32::BITS,
        IpAddr::V6(_) => u128::BITS,
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}
