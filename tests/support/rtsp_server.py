"""A real RTSP server out of Debian's packages, as a process of its own: python3 rtsp_server.py PORT WIDTH HEIGHT.

Debian and Ubuntu: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly.
Prints the port (0 asks for a free one) when it serves rtsp://127.0.0.1:PORT/camera. Run by the system's Python.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
H264 = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0 pt=96 config-interval=1"
JPEG = "jpegenc ! rtpjpegpay name=pay0 pt=26"
encoder = next((line for line in (H264, JPEG) if Gst.ElementFactory.find(line.split()[0])), None)
if encoder is None or not Gst.ElementFactory.find("rtpjpegpay"):
    sys.exit("gstreamer1.0-plugins-good is not installed")

port, width, height = sys.argv[1:]
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    f"( videotestsrc is-live=true ! video/x-raw,format=I420,width={width},height={height},framerate=25/1 ! {encoder} )"
)
factory.set_shared(True)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
server.get_mount_points().add_factory("/camera", factory)
if not server.attach(None):
    sys.exit(f"port {port} is taken")
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
