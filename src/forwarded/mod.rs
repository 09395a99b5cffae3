//! The client's address behind proxies: `Forwarded` (RFC 7239) and `X-Forwarded-For`.

mod elements;
mod network;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use self::elements::Node;
use self::network::Network;
use crate::error::Result;

/// The proxies that are trusted to report a client's address.
///
/// A proxy adds the address of its own client to the end of the field: `X-Forwarded-For: a, b` says that `b`
/// connected to the last proxy, and that `b` has said that `a` had connected to it. Everyone can send such a field.
/// So what it says is read **from the right**: an entry is believed only if the party that has added it is a trusted
/// proxy. Entries further to the left come from parties that aren't trusted. A server that takes the leftmost entry
/// lets each client choose its address.
///
/// ```
/// use mini_http::{ForwardedBy, TrustedProxies};
/// use mini_http::http::HeaderMap;
///
/// let proxies = TrustedProxies::new(["127.0.0.1", "::1", "10.0.0.0/8"])?;
///
/// let mut fields = HeaderMap::new();
/// fields.append("x-forwarded-for", "1.1.1.1, 203.0.113.9, 10.0.0.7".parse().unwrap());
/// let peer = "127.0.0.1:40000".parse().ok();
/// // 127.0.0.1 is a proxy, which has added 10.0.0.7. That is a proxy, too, which has added 203.0.113.9. That isn't
/// // one, so it is the client. The client itself has sent 1.1.1.1, which doesn't count.
/// let client = proxies.client(peer, &fields, ForwardedBy::XForwardedFor);
/// assert_eq!(client, "203.0.113.9".parse().ok());
/// # Ok::<(), mini_http::Error>(())
/// ```
///
/// All this holds only if clients can't connect to the server directly with the address of a proxy. Trust networks
/// as small as possible.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<Network>,
    without_address: bool,
}

/// The field in which the trusted proxies write.
///
/// It has to be named: a proxy that writes one of them passes the other on as the client sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardedBy {
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`, which nginx, HAProxy and most others write.
    XForwardedFor,
}

impl TrustedProxies {
    /// Proxies with these addresses, each an IP address (`127.0.0.1`, `::1`) or a network (`10.0.0.0/8`,
    /// `fd00::/8`).
    ///
    /// # Errors
    /// [`Setting`](crate::ErrorKind::Setting) if one is neither, or if a network's address has bits set
    /// after its prefix, as in `10.0.0.1/8`: then either the address or the prefix is wrong.
    pub fn new<'a>(networks: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let networks = networks.into_iter().map(Network::parse);
        Ok(Self {
            networks: networks.collect::<Result<_>>()?,
            without_address: false,
        })
    }

    /// Trusts connections that have no address as well: those of Unix domain sockets, where the permissions of the
    /// file decide which processes may connect.
    ///
    /// On WASI preview 1 no connection has an address. There this trusts every client that can reach the listener.
    ///
    /// With the PROXY protocol, a connection has none if the proxy doesn't know the address of its client. This trusts
    /// such clients, so don't use both.
    #[must_use]
    pub fn and_without_address(mut self) -> Self {
        self.without_address = true;
        self
    }

    /// Whether this is the address of a trusted proxy. An IPv4 address in the form `::ffff:10.0.0.1` is the same as
    /// `10.0.0.1`.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.has(address))
    }

    /// The client's address. `peer` is that of the connection: [`Request::peer_addr`](crate::Request::peer_addr)
    /// or [`PeerAddr`](crate::PeerAddr).
    ///
    /// | the connection is from | the result |
    /// |---|---|
    /// | another party than a trusted proxy | its address; the field doesn't count |
    /// | a trusted proxy, and there is no field | the proxy's address |
    /// | a trusted proxy | the first address from the right that is not a trusted proxy's |
    /// | a trusted proxy, and all addresses are trusted | the leftmost one |
    ///
    /// It is `None` if the address isn't known: if that entry is `unknown`, an obfuscated name like `_hidden`,
    /// or malformed. Then the entries to the left of it don't count either, because it is not known which party has
    /// added them. Those to the right of it do: no bytes of a client hide what a proxy adds after them. It is also
    /// `None` if the connection has no address, and isn't trusted or has no field.
    ///
    /// Several lines of the field are one list, in their order. Ports are left out. Empty entries are ignored.
    #[must_use]
    pub fn client(
        &self,
        peer: Option<SocketAddr>,
        fields: &HeaderMap,
        by: ForwardedBy,
    ) -> Option<IpAddr> {
        let peer = peer.map(|peer| peer.ip().to_canonical());
        let is_trusted = match peer {
            Some(address) => self.contains(address),
            None => self.without_address,
        };
        if !is_trusted {
            return peer;
        }
        let mut nearest = peer;
        for line in fields.get_all(by.name()).iter().rev() {
            for node in elements::of_line(line, by) {
                match node {
                    Node::Unknown => return None,
                    Node::Address(address) if self.contains(address) => nearest = Some(address),
                    Node::Address(address) => return Some(address),
                }
            }
        }
        nearest
    }
}

impl ForwardedBy {
    const fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::XForwardedFor => "x-forwarded-for",
        }
    }
}
