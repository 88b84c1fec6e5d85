//! The pre-encoded loop a publisher sends: made once with GStreamer, kept on disk.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::codec::{Codec, Frame, h264, vp8, vp9};

/// Largest RTP payload. With header, extensions, SRTP tag and UDP/IP it stays below 1280.
pub const MAX_PAYLOAD: usize = 1180;

pub struct Spec {
    pub codec: Codec,
    pub kbps: u32,
    pub fps: u32,
    pub width: u32,
    pub height: u32,
    /// Frames from keyframe to keyframe.
    pub gop: u32,
    pub seconds: u32,
}

pub struct Clip {
    pub frames: Vec<Frame>,
}

impl Clip {
    pub fn load(codec: Codec, path: &Path) -> Result<Clip> {
        let data = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let frames: Vec<Frame> = match codec {
            Codec::H264 => {
                let nals = h264::nals(&data);
                let units = h264::access_units(&nals);
                units.iter().map(|u| h264::packetize(u, MAX_PAYLOAD)).collect()
            }
            Codec::Vp8 => {
                let (_, frames) = ivf(&data)?;
                frames.iter().map(|f| vp8::packetize(f, MAX_PAYLOAD)).collect()
            }
            Codec::Vp9 => {
                let (size, frames) = ivf(&data)?;
                frames.iter().map(|f| vp9::packetize(f, size, MAX_PAYLOAD)).collect()
            }
            Codec::Opus => bail!("opus needs no clip"),
        };
        ensure!(frames.first().is_some_and(|f| f.key), "{} does not start with a keyframe", path.display());
        Ok(Clip { frames })
    }

    /// Payload bit rate of one pass through the loop.
    pub fn kbps(&self, fps: u32) -> f64 {
        let bytes: usize = self.frames.iter().map(Frame::bytes).sum();
        bytes as f64 * 8.0 * f64::from(fps) / self.frames.len() as f64 / 1000.0
    }

    pub fn packets_per_frame(&self) -> f64 {
        let packets: usize = self.frames.iter().map(|f| f.packets.len()).sum();
        packets as f64 / self.frames.len() as f64
    }
}

impl Spec {
    /// The file the loop lives in, made if it is not there yet.
    pub fn file(&self) -> Result<PathBuf> {
        let dir = std::env::temp_dir().join("swarm-clips");
        std::fs::create_dir_all(&dir)?;
        let Spec { kbps, fps, width, height, gop, seconds, .. } = *self;
        let ext = if self.codec == Codec::H264 { "h264" } else { "ivf" };
        let name =
            format!("{}-{kbps}k-{width}x{height}-{fps}fps-gop{gop}-{seconds}s.{ext}", self.codec.name());
        let path = dir.join(name);
        if !path.exists() {
            // Another process may be making the same file: write aside, then rename.
            let part = dir.join(format!(".{}.part", std::process::id()));
            self.make(&part)?;
            std::fs::rename(&part, &path)?;
        }
        Ok(path)
    }

    fn make(&self, to: &Path) -> Result<()> {
        let Spec { kbps, fps, width, height, gop, seconds, .. } = *self;
        // Noise in blocks, as fine as the encoder can still code at about the bit rate.
        let block = if self.codec == Codec::H264 { 8 } else { 20 };
        let source = format!(
            "videotestsrc num-buffers={} pattern=snow ! \
             video/x-raw,format=I420,width={},height={},framerate={fps}/1 ! \
             videoscale method=nearest-neighbour ! video/x-raw,width={width},height={height}",
            fps * seconds,
            width / block,
            height / block,
        );
        let encoder = match self.codec {
            Codec::H264 => format!(
                "x264enc bitrate={kbps} tune=zerolatency speed-preset=veryfast key-int-max={gop} \
                 sliced-threads=false vbv-buf-capacity=500 option-string=scenecut=0 ! \
                 video/x-h264,profile=constrained-baseline,stream-format=byte-stream,alignment=au"
            ),
            Codec::Vp8 | Codec::Vp9 => format!(
                "{}enc target-bitrate={} end-usage=cbr deadline=1 cpu-used=8 lag-in-frames=0 \
                 keyframe-max-dist={gop} error-resilient=default threads=1 ! avmux_ivf",
                self.codec.name(),
                kbps * 1000,
            ),
            Codec::Opus => bail!("opus needs no clip"),
        };
        let pipeline = format!("{source} ! {encoder} ! filesink location={}", to.display());
        let out = Command::new("gst-launch-1.0")
            .arg("-q")
            .args(pipeline.split_whitespace())
            .output()
            .context("running gst-launch-1.0 (or give --frames-file)")?;
        if !out.status.success() {
            let _ = std::fs::remove_file(to);
            bail!("{pipeline}\n{}", String::from_utf8_lossy(&out.stderr));
        }
        Ok(())
    }
}

/// Width and height.
type Size = (u16, u16);

/// Picture size and frames of an IVF file.
fn ivf(data: &[u8]) -> Result<(Size, Vec<&[u8]>)> {
    let le16 = |at: usize| u16::from_le_bytes([data[at], data[at + 1]]);
    ensure!(data.len() >= 32 && data.starts_with(b"DKIF"), "not an IVF file");
    let size = (le16(12), le16(14));
    let mut rest = &data[usize::from(le16(6))..];
    let mut frames = Vec::new();
    while rest.len() >= 12 {
        let len = u32::from_le_bytes(rest[..4].try_into().expect("four bytes")) as usize;
        ensure!(rest.len() >= 12 + len, "IVF frame cut short");
        frames.push(&rest[12..12 + len]);
        rest = &rest[12 + len..];
    }
    Ok((size, frames))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ivf_frames() {
        let mut file = b"DKIF\0\0\x20\0VP80".to_vec();
        file.extend([0, 5, 0xd0, 2]); // 1280 x 720
        file.resize(32, 0);
        for frame in [&b"one"[..], b"three"] {
            file.extend((frame.len() as u32).to_le_bytes());
            file.extend([0; 8]);
            file.extend(frame);
        }
        let (size, frames) = ivf(&file).unwrap();
        assert_eq!((size, frames), ((1280, 720), vec![&b"one"[..], b"three"]));
        file.pop();
        assert!(ivf(&file).is_err());
    }
}
