"""The multiplications of a ResNet-18, counted from the paper's figure."""


def of_stages(cells):
    """Multiplications of the convolutions to the end of stage 3, counted from the paper's figure.

    `cells` are those at strides 2, 4 and 8.
    """
    at_2, at_4, at_8 = cells
    stem = at_2 * 7 * 7 * 3 * 64
    stage1 = at_4 * 4 * 9 * 64 * 64
    stage2 = at_8 * (9 * 64 * 128 + 3 * 9 * 128 * 128 + 64 * 128)
    stage3 = at_8 * (9 * 128 * 256 + 3 * 9 * 256 * 256 + 128 * 256)
    return stem + stage1 + stage2 + stage3
