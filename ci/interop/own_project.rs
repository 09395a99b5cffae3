fn run() -> Result<(), Box<dyn std::error::Error>> {
    mini_http::Server::new("127.0.0.1:3000")?
        .start(|request| {
            println!("{:?}", std::str::from_utf8(request.body()));
            let resp = if request.body().len() > 0 { request.body().to_vec() } else { b"hello!".to_vec() };
            mini_http::Response::builder().status(200).header("X-What-Up", "Nothin").body(resp).unwrap()
        })?;
    Ok(())
}

fn main() {
    run().unwrap();
}
