//! The floor with two threads.

fn main() -> std::io::Result<()> {
    native_servers::floor::serve(2)
}
