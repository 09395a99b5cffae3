//! The floor: a bare epoll loop with fixed responses.

fn main() -> std::io::Result<()> {
    native_servers::floor::serve(1)
}
