//! `mini_http` with a handler that computes, and two workers.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    native_servers::busy::serve(2)
}
