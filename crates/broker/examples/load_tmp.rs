#![allow(warnings, clippy::all)]
use futures_util::{SinkExt, StreamExt};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_tungstenite::{client_async_with_config, tungstenite::{Message, protocol::WebSocketConfig}};
fn rss(pid: u32) -> (u64, f64) {
    let s = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kb: u64 = s.lines().find(|l| l.starts_with("VmRSS")).unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    let st = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let f: Vec<_> = st.rsplit(')').next().unwrap().split_whitespace().collect();
    (kb, (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0)
}
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let pid: u32 = args[1].parse().unwrap();
    let port: u16 = args[2].parse().unwrap();
    let n: usize = args[3].parse().unwrap();
    let cfg = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(4096);
    let (r0, c0) = rss(pid);
    let mut all = vec![];
    for i in 0..n {
        let ip = format!("127.0.0.{}", 1 + i % 5);
        let s = tokio::net::TcpSocket::new_v4().unwrap();
        s.bind(format!("{ip}:0").parse().unwrap()).unwrap();
        let tcp = s.connect(format!("127.0.0.1:{port}").parse().unwrap()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let (mut ws, _) = client_async_with_config("ws://localhost/", tcp, Some(cfg)).await.unwrap();
        ws.send(Message::text(format!(r#"{{"id":"{i}-1b2c3d","message":{{"type":"register","id":"peer-number-{i}"}}}}"#))).await.unwrap();
        ws.next().await.unwrap().unwrap();
        all.push(ws);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (r1, c1) = rss(pid);
    println!("idle: {} bytes/socket, {:.1} us per accept+register", (r1 - r0) * 1024 / n as u64, (c1 - c0) * 1e6 / n as f64);
    // routed signals: 50 pairs, window 
    let pairs = 50; let count = 8000;
    let body = "s".repeat(500);
    let (r2, c2) = rss(pid); let t = Instant::now();
    let mut tasks = vec![];
    for p in 0..pairs {
        let mut a = all.swap_remove(0); let mut b = all.pop().unwrap(); 
        let text = Message::text(format!(r#"{{"message":{{"type":"signal","from":"peer-number-1","to":"peer-number-{}","signal":"{body}"}}}}"#, n-1-p));
        // note: swap_remove moves; ids computed below
        tasks.push((a,b,text));
    }
    // find ids: register anew so that ids are certain
    let mut hs = vec![];
    for (i,(mut a, mut b, _)) in tasks.into_iter().enumerate() {
        for (ws,name) in [(&mut a,format!("a{i}")),(&mut b,format!("b{i}"))] {
            ws.send(Message::text(format!(r#"{{"id":"x","message":{{"type":"register","id":"{name}"}}}}"#))).await.unwrap();
            ws.next().await.unwrap().unwrap();
        }
        let text = Message::text(format!(r#"{{"message":{{"type":"signal","from":"a{i}","to":"b{i}","signal":"{body}"}}}}"#));
        hs.push(tokio::spawn(async move {
            let window = 8;
            let mut sent = 0; let mut got = 0;
            while got < count {
                while sent < count && sent - got < window { a.feed(text.clone()).await.unwrap(); sent += 1; }
                a.flush().await.unwrap();
                loop { let m = b.next().await.unwrap().unwrap(); if m.is_text() { got += 1; break; } }
            }
            (a,b)
        }));
    }
    for h in hs { all.extend({let (a,b)=h.await.unwrap(); [a,b]}); }
    let (r3, c3) = rss(pid);
    let total = (pairs*count) as f64; let dt = t.elapsed().as_secs_f64();
    println!("signals: {:.0}/s, {:.2} us cpu each, rss {} -> {}", total/dt, (c3-c2)*1e6/total, r2, r3);
    tokio::time::sleep(Duration::from_secs(16)).await;
    let (r4, c4) = rss(pid);
    println!("16 s idle: cpu {:.3} s, rss {}", c4-c3, r4);
}
