"""Face alignment: landmarks, the template they are fitted to, and the crop that the network sees.

geometry.py   the 47-point set, the template, least-squares similarity (NumPy only)
landmarks.py  landmark predictor (dlib), and the one that taught it
train_landmarks.py, landmark_scenes.py, shape_fit.py, shape_file.py, evaluate_landmarks.py: its training
weights/      what ships
crop.py       warps faces to the network's input size (OpenCV)
"""
