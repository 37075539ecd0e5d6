"""Advanced image processing: a function of one picture that calls OpenCV."""

import cv2
import made

import daskimg as di


def outlined(image):
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    blurred = cv2.GaussianBlur(gray, (5, 5), 0)
    edges = cv2.Canny(blurred, 50, 150)
    contours, _ = cv2.findContours(edges, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return cv2.drawContours(image.copy(), contours, -1, (0, 255, 0), 2)


def process(images):
    return images.assign(processed_image=images.image.img.convert("RGB").img.apply(outlined))


def main():
    folder = made.pictures()
    found = process(di.read_images(folder)).processed_image.compute()
    for image, pixels in zip(found, made.opened(folder, "RGB").values(), strict=True):
        assert (image.to_numpy() == outlined(pixels)).all()
        assert (image.to_numpy() != pixels).any()


if __name__ == "__main__":
    main()
