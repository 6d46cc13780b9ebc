"""Face alignment: landmarks, the template they are fitted to, and the crop that the network sees.

geometry.py   the 47-point set, the template, least-squares similarity (NumPy only)
landmarks.py  landmark predictor (dlib)
crop.py       warps faces to the network's input size (OpenCV)
"""
