"""An object detection pipeline: OpenCV finds faces and eyes; they are drawn on the pictures."""

import cv2
import made
import numpy as np

import daskimg as di


class Detector:
    def __init__(self):
        folder = cv2.data.haarcascades
        self.face = cv2.CascadeClassifier(folder + "haarcascade_frontalface_default.xml")
        self.eye = cv2.CascadeClassifier(folder + "haarcascade_eye.xml")

    def __call__(self, batch):
        faces = [self.face.detectMultiScale(gray, 1.1, 5) for gray in batch["gray"]]
        eyes = [self.eye.detectMultiScale(gray) for gray in batch["gray"]]
        return {
            "faces": [[[x, y, x + w, y + h] for x, y, w, h in np.array(f).tolist()] for f in faces],
            "face_count": [len(found) for found in faces],
            "eye_count": [len(found) for found in eyes],
        }


def detect(images):
    found = images.assign(gray=images.image.img.convert("L")).img.map_batches(
        Detector,
        columns=["gray"],
        meta={"faces": list, "face_count": "int64", "eye_count": "int64"},
    )
    return found.assign(drawn=found.image.img.convert("RGB").img.draw_boxes(found.faces))


def main():
    folder = made.pictures()
    table = detect(di.read_images(folder)).compute()
    detector = Detector()
    face, eye = detector.face, detector.eye
    gray, color = made.opened(folder, "L"), made.opened(folder, "RGB")
    for name, row in zip(gray, table.itertuples(), strict=True):
        boxes = face.detectMultiScale(gray[name], 1.1, 5)
        assert [tuple(box) for box in row.faces] == [(x, y, x + w, y + h) for x, y, w, h in boxes]
        assert row.face_count == len(boxes)
        assert row.eye_count == len(eye.detectMultiScale(gray[name]))
        drawn = (row.drawn.to_numpy() != color[name]).any()
        assert drawn == (len(boxes) > 0)
    assert table.face_count[table.path.str.endswith("3_1.jpg")].item() == 1  # the astronaut


if __name__ == "__main__":
    main()
