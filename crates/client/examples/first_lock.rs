//! A first lock: what `docs/start.md` shows. `cargo run -p throttle-client --example first_lock`

use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = throttle_client::Client::new("http://localhost:8000")?;
    let guard = client.lock("database").acquire().await?;
    println!("at most three at once; token {:?}", guard.token());
    guard.release().await?;
    Ok(())
}
