//! bench
use burn::tensor::{Device,DType,Tensor,Distribution};
use lease::method::{*,product::*,stage2::Attack,stage3::Reweighting,stage4::*};
use lease::network::*;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
fn main(){ rayon::scope(|_| run()) }
fn run(){
 let a:Vec<usize>=std::env::args().skip(1).map(|v|v.parse().unwrap()).collect();
 let (c,cells,nodes,batch,size,ic)=(a[0],a[1],a[2],a[3],a[4],a[5]);
 let d=Device::flex(); let f=Supernet::new(&SupernetShape{channels:c,cells,nodes,classes:10,image_channels:ic}).unwrap();
 let g=Audience::new(&ResNet::ResNet20.shape(a[6] as f64/16.0,10,ic)).unwrap();
 let mut r=ChaCha8Rng::seed_from_u64(1);
 let mut vec=|l:&std::sync::Arc<Layout>|{ let v=l.initial_values(&mut r); Vector::from_values(l.clone(),v,&d,DType::F32)};
 let at=Point{explainer:vec(f.weights()),audience:vec(g.weights()),architecture:vec(f.architecture())};
 println!("params E {} W {} entries {}",f.weights().len(),g.weights().len(),f.weights().entries().len());
 let ex=||Examples::new(Tensor::random([batch,ic,size,size],Distribution::Normal(0.,1.),&d),(0..batch as i64).map(|i|i%10).collect(),10);
 let b=Batches{explainer_train:ex(),audience_train:ex(),explainer_val:ex(),audience_val:ex()};
 let m=Models{explainer:f,audience:g};
 let s=Unrolling{method:Method::Lease,explainer:UnrolledStep{learning_rate:0.025,weight_decay:3e-4},audience:UnrolledStep{learning_rate:0.025,weight_decay:3e-4},attack:Attack{epsilon:0.03,step_size:1.0,steps:1,signed:false},reweighting:Reweighting::Signed,validate_reweighted:false,product:MixedProduct::Exact};
 let starts=Starts{train:Tensor::random([batch,ic,size,size],Distribution::Uniform(-0.03,0.03),&d),val:Tensor::zeros([1,1,1,1],&d)};
 for _ in 0..2 {
 let t=std::time::Instant::now(); let _=gradient(stage1::loss(&m.explainer,&b.explainer_train),[&at.explainer,&at.architecture],[0,1]); println!("explainer fwd+bwd {:?}",t.elapsed());
 let t=std::time::Instant::now(); let _=gradient(stage3::validation_loss(&m.audience,&b.audience_val),[&at.audience],[0]); println!("audience fwd+bwd {:?}",t.elapsed());
 let t=std::time::Instant::now(); let _=MixedProduct::Exact.product(stage1::loss(&m.explainer,&b.explainer_train),[&at.explainer,&at.architecture],(0,&at.explainer),[1]); println!("mixed wrt A {:?}",t.elapsed());
 let t=std::time::Instant::now(); let st=stages(&m,&at,&b,Some(&starts),&s); println!("stages {:?}",t.elapsed());
 let t=std::time::Instant::now(); let e=explainer_term(&m,&at,&b,&st,&s); println!("eterm {:?}",t.elapsed());
 let t=std::time::Instant::now(); let w=audience_term(&m,&at,&b,&starts,(&st,st.audience.as_ref().unwrap()),&s); println!("aterm {:?} {} {}",t.elapsed(),e.gradient.norm(),w.gradient.norm());
 }
}
