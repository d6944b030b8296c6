//! x
mod body; mod stream;
fn main(){
  for mix in [body::Mix::Lean, body::Mix::Capture] {
    let s = stream::Shape::new(mix, 200000, 1);
    let lines = s.lines();
    let mut c: std::collections::BTreeMap<String,(usize,usize)> = Default::default();
    for l in &lines { let at=l.find("\"event\": \"").unwrap()+10; let e=l[at..].split('"').next().unwrap(); let x=c.entry(e.into()).or_default(); x.0+=1; x.1+=l.len()+1; }
    let b: usize = lines.iter().map(|l| l.len()+1).sum();
    println!("{mix:?} {}", b as f64/lines.len() as f64);
    for (k,(n,b)) in c { println!("  {k} {:.2}% {:.0}", n as f64/lines.len() as f64*100.0, b as f64/n as f64); }
    std::fs::write(format!("/tmp/{mix:?}.jsonl"), lines.join("\n")).unwrap();
  }
}
