"""How the names of files end."""

PXC = ".pxc"

IMAGES = frozenset(
    (
        *(".bmp", ".gif", ".jpeg", ".jpg", ".pam", ".pbm", ".pgm", ".png", ".ppm", ".qoi"),
        *(".tif", ".tiff", ".webp"),
    )
)
"""In a folder, only these are taken for images."""

NOT_PXC = IMAGES.union((".avif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jxl", ".npy"))
"""What no ``.pxc`` file should be called."""
