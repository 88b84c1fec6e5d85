//! UDP with kernel receive times and drop counts.
//!
//! A datagram's arrival is the time the kernel queued it on the socket
//! (SO_TIMESTAMPNS), not the time this process got round to reading it: the
//! load generator's own scheduling must not show up as relay delay. Datagrams
//! the kernel dropped because a socket buffer was full are counted
//! (SO_RXQ_OVFL), so that the generator's failures are not blamed on the server.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use crate::clock;

const RCVBUF: libc::c_int = 4 << 20;
const BATCH: usize = 32;
const DATAGRAM: usize = 2048;
const CONTROL: usize = 128;

pub struct Udp {
    sock: UdpSocket,
    pub local: SocketAddr,
    /// Datagrams the kernel dropped on this socket since it was opened.
    pub dropped: u32,
}

impl Udp {
    pub fn bind(ip: IpAddr) -> io::Result<Udp> {
        let sock = UdpSocket::bind((ip, 0))?;
        sock.set_nonblocking(true)?;
        let fd = sock.as_raw_fd();
        set(fd, libc::SO_TIMESTAMPNS, 1)?;
        set(fd, libc::SO_RXQ_OVFL, 1)?;
        // Root may go past net.core.rmem_max; others get what that allows.
        if set(fd, libc::SO_RCVBUFFORCE, RCVBUF).is_err() {
            set(fd, libc::SO_RCVBUF, RCVBUF)?;
        }
        let local = sock.local_addr()?;
        Ok(Udp { sock, local, dropped: 0 })
    }

    pub fn fd(&self) -> RawFd {
        self.sock.as_raw_fd()
    }

    /// Sends, or drops the datagram like a network would.
    pub fn send(&self, to: SocketAddr, data: &[u8]) -> bool {
        self.sock.send_to(data, to).is_ok()
    }
}

fn set(fd: RawFd, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the pointer and length describe `value`, which outlives the call.
    let rc = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

pub struct Datagram<'a> {
    pub from: SocketAddr,
    pub at_ns: u64,
    pub data: &'a [u8],
}

#[derive(Clone, Copy)]
#[repr(align(8))]
struct Control([u8; CONTROL]);

struct Meta {
    slot: usize,
    len: usize,
    from: SocketAddr,
    at_ns: u64,
}

/// Buffers for one `recvmmsg`, reused for every socket of a thread.
pub struct Batch {
    data: Box<[[u8; DATAGRAM]]>,
    control: Box<[Control]>,
    names: Box<[libc::sockaddr_storage]>,
    meta: Vec<Meta>,
}

impl Batch {
    pub fn new() -> Batch {
        Batch {
            data: vec![[0; DATAGRAM]; BATCH].into_boxed_slice(),
            control: vec![Control([0; CONTROL]); BATCH].into_boxed_slice(),
            // SAFETY: all-zero is a valid sockaddr_storage.
            names: vec![unsafe { zeroed() }; BATCH].into_boxed_slice(),
            meta: Vec::with_capacity(BATCH),
        }
    }

    /// Reads what is waiting, at most one batch. True if the batch was full.
    pub fn recv(&mut self, udp: &mut Udp) -> bool {
        self.meta.clear();
        // SAFETY: all-zero is a valid iovec and mmsghdr.
        let mut iovs: [libc::iovec; BATCH] = unsafe { zeroed() };
        let mut msgs: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        for i in 0..BATCH {
            iovs[i].iov_base = self.data[i].as_mut_ptr().cast();
            iovs[i].iov_len = DATAGRAM;
            let hdr = &mut msgs[i].msg_hdr;
            hdr.msg_name = (&raw mut self.names[i]).cast();
            hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as _;
            hdr.msg_iov = &raw mut iovs[i];
            hdr.msg_iovlen = 1;
            hdr.msg_control = self.control[i].0.as_mut_ptr().cast();
            hdr.msg_controllen = CONTROL as _;
        }
        // SAFETY: every pointer in `msgs` refers to a live buffer of the stated length.
        let n = unsafe {
            libc::recvmmsg(
                udp.fd(),
                msgs.as_mut_ptr(),
                BATCH as _,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let n = usize::try_from(n).unwrap_or(0); // errors: nothing to read
        for (i, msg) in msgs.iter().enumerate().take(n) {
            let mut at_ns = 0;
            // SAFETY: the kernel filled the header in; the CMSG macros stay inside it.
            unsafe {
                let mut c = libc::CMSG_FIRSTHDR(&msg.msg_hdr);
                while !c.is_null() {
                    let data = libc::CMSG_DATA(c);
                    match ((*c).cmsg_level, (*c).cmsg_type) {
                        (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                            at_ns = clock::timespec_ns(&data.cast::<libc::timespec>().read_unaligned());
                        }
                        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                            udp.dropped = data.cast::<u32>().read_unaligned();
                        }
                        _ => {}
                    }
                    c = libc::CMSG_NXTHDR(&msg.msg_hdr, c);
                }
            }
            if at_ns == 0 {
                at_ns = clock::realtime_ns();
            }
            if let Some(from) = address(&self.names[i]) {
                self.meta.push(Meta { slot: i, len: msg.msg_len as usize, from, at_ns });
            }
        }
        n == BATCH
    }

    pub fn len(&self) -> usize {
        self.meta.len()
    }

    pub fn get(&self, i: usize) -> Datagram<'_> {
        let m = &self.meta[i];
        Datagram { from: m.from, at_ns: m.at_ns, data: &self.data[m.slot][..m.len] }
    }
}

fn address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let p = &raw const *name;
    // SAFETY: the family says which of the two layouts the storage holds.
    unsafe {
        match i32::from(name.ss_family) {
            libc::AF_INET => {
                let a = &*p.cast::<libc::sockaddr_in>();
                let ip = Ipv4Addr::from(u32::from_be(a.sin_addr.s_addr));
                Some((ip, u16::from_be(a.sin_port)).into())
            }
            libc::AF_INET6 => {
                let a = &*p.cast::<libc::sockaddr_in6>();
                let ip = Ipv6Addr::from(a.sin6_addr.s6_addr);
                Some((ip, u16::from_be(a.sin6_port)).into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receives_with_kernel_time_and_source() {
        let ip = IpAddr::from([127, 0, 0, 1]);
        let a = Udp::bind(ip).unwrap();
        let mut b = Udp::bind(ip).unwrap();
        let before = clock::realtime_ns();
        for i in 0..40u8 {
            assert!(a.send(b.local, &vec![i; 3 + usize::from(i)]));
        }
        let after = clock::realtime_ns();
        let mut batch = Batch::new();
        assert!(batch.recv(&mut b));
        assert_eq!(batch.len(), BATCH);
        for i in 0..BATCH {
            let d = batch.get(i);
            assert_eq!((d.from, d.data.len(), d.data[0]), (a.local, 3 + i, i as u8));
            assert!(d.at_ns >= before && d.at_ns <= after.max(clock::realtime_ns()));
        }
        assert!(!batch.recv(&mut b));
        assert_eq!(batch.len(), 8);
        assert_eq!(b.dropped, 0);
    }
}
