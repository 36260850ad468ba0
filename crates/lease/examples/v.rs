use burn::tensor::{Device,DType};
use lease::method::product::MixedProduct;
fn main(){ for dt in [DType::F64,DType::F32] { for p in std::env::args().skip(1) { let c=lease::verify::Case::load(p.as_ref()).unwrap_or_else(|e|panic!("{e}")); let d=Device::flex(); let t=std::time::Instant::now(); let r=c.compare(&d,dt,MixedProduct::Exact).unwrap_or_else(|e|panic!("{e}")); println!("{p} {dt:?} {:?}",t.elapsed()); for x in r { println!("{:40} {:.4e} {:.2e}",x.quantity,x.norm,x.relative_error);} } } }
