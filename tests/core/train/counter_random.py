"""The random scheme of core/train/random.h once more, in numpy, so that the engine's numbers have something independent
to be compared with. Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""
import numpy as np

INITIAL, SHUFFLE, DROPOUT, AUGMENTATION = 1, 2, 3, 4

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def philox4x32(counters, key):
    """counters: n x 4 words, key: two words; n x 4 words (uint32)."""
    c0, c1, c2, c3 = np.asarray(counters, dtype=np.uint64).T
    k0, k1 = (np.uint64(k) for k in key)
    for _ in range(10):
        product0 = np.uint64(0xD2511F53) * c0
        product1 = np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = ((product1 >> _32) ^ c1 ^ k0, product1 & _LOW, (product0 >> _32) ^ c3 ^ k1, product0 & _LOW)
        k0 = (k0 + np.uint64(0x9E3779B9)) & _LOW
        k1 = (k1 + np.uint64(0xBB67AE85)) & _LOW
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def check_known_answers():
    """The vectors that the paper's authors publish with their code (Random123, kat_vectors)."""
    ones = 0xFFFFFFFF
    for counter, key, want in [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([ones] * 4, [ones] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0],
         [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
    ]:
        got = philox4x32([counter], key)[0]
        if list(got) != want:
            raise SystemExit(f"Philox4x32-10 is wrong: got {[hex(g) for g in got]}, want {[hex(w) for w in want]}")


def words(seed, purpose, index, epoch, sample, count):
    """The first `count` words of a stream."""
    blocks = (count + 3) // 4
    counters = np.empty((blocks, 4), dtype=np.uint64)
    counters[:, 0] = np.arange(blocks)
    counters[:, 1] = sample
    counters[:, 2] = epoch
    counters[:, 3] = purpose << 24 | index
    return philox4x32(counters, [seed & 0xFFFFFFFF, seed >> 32]).reshape(-1)[:count]


def glorot_uniform(seed, parameter, fan_in, fan_out, count):
    u = (words(seed, INITIAL, parameter, 0, 0, count) >> np.uint32(8)).astype(np.float64) / 2.0**24
    return ((2 * u - 1) * np.sqrt(6.0 / (fan_in + fan_out))).astype(np.float32)


def shuffled_order(seed, epoch, count):
    drawn = words(seed, SHUFFLE, 0, epoch, 0, count)
    order = list(range(count))
    for i in range(count - 1, 0, -1):
        j = int(drawn[i]) * (i + 1) >> 32
        order[i], order[j] = order[j], order[i]
    return np.array(order, dtype=np.int32)


def dropout_threshold(rate):
    return int(float(np.float32(rate)) * 2.0**32)


def dropout_mask(seed, layer, epoch, sample, rate, count):
    """True where the element stays."""
    return words(seed, DROPOUT, layer, epoch, sample, count) >= np.uint32(dropout_threshold(rate))


def motion(seed, epoch, sample, shift):
    """How augmentation moves a sample: pixels down, pixels to the right, whether it is mirrored."""
    flip, down, right = (int(word) for word in words(seed, AUGMENTATION, 0, epoch, sample, 3))
    return (down * (2 * shift + 1) >> 32) - shift, (right * (2 * shift + 1) >> 32) - shift, flip >> 31 == 1
