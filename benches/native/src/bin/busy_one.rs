//! `mini_http` with a handler that computes, and one worker.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    native_servers::busy::serve(1)
}
