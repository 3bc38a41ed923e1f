"""Let a synthesiser say the ten digits in English and Mandarin: experiments/multimodal_speech.npz.

    python experiments/multimodal_speech.py

It needs the command `espeak-ng` (on Debian or Ubuntu: apt-get install espeak-ng) and takes about a minute. What is
stored are log-mel features, one byte a number; the sound itself is not kept. A clip is one digit, said in one language
by one speaker: a variant of the synthesiser's voice with an accent of its own, and pitch and speed drawn
anew for every clip. Speakers whose names differ by a number only (klatt, klatt2, ...) sound alike, so that a family
goes as a whole to training, validation or testing.
"""
import io
import json
import re
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np

from imagebook.records import write_arrays

RECORD = Path(__file__).with_suffix(".npz")
ENGLISH = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
# The Debian package has no Chinese characters in its dictionary: the words are given in pinyin, tone and all.
MANDARIN = ["ling2", "yi1", "er4", "san1", "si4", "wu3", "liu4", "qi1", "ba1", "jiu3"]
ACCENTS = ["en-gb", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbcwmd", "en-029", "en-gb-x-gbclan", "en-us-nyc"]
VARIANTS = (
    "m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 klatt klatt2 klatt3 klatt4 klatt5 klatt6 croak whisper whisperf adam Alex "
    "Alicia Andrea Andy Annie antonio aunty belinda benjamin boris caleb david Denis Diogo ed edward edward2 Gene Gene2 "
    "gustave Henrique Hugo iven iven2 iven3 iven4 Jacky john kaukovalta Lee linda marcelo Marco Mario max Michael michel "
    "miguel mike Nguyen norbert pablo paul pedro quincy rob robert sandro shelby steph steph2 steph3 travis victor zac "
    "anika grandma grandpa").split()
RATE, WINDOW, HOP, TRANSFORM = 22_050, 662, 551, 1024  # a window of 30 ms every 25 ms
BANDS, FRAMES, TOP = 16, 24, 8000.0
STEP, DEPTH = 2.0, 60.0  # decibels to a stored unit, and how far below the loudest number the zero lies


def mel(hertz):
    """Return a frequency on the mel scale, on which equal steps sound about equally wide."""
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)


def filter_bank():
    """Return triangles that are evenly spaced on the mel scale, shape (bands, frequencies)."""
    corners = 700 * (10 ** (np.linspace(mel(100), mel(TOP), BANDS + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(TRANSFORM, 1 / RATE)
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    triangles = np.maximum(0, np.minimum(rising, falling))
    return triangles / triangles.sum(1, keepdims=True)


def say(text, voice, pitch, speed):
    """Return the sound of the text, as numbers between -1 and 1."""
    command = ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed), "--stdout", text]
    output = subprocess.run(command, capture_output=True, check=True).stdout
    with wave.open(io.BytesIO(output)) as file:
        assert file.getframerate() == RATE and file.getnchannels() == 1
        data = file.readframes(2**24)
    return np.frombuffer(data, "<i2") / 32768


def powers(sound):
    """Return the power of the sound in each frame and band, shape (frames, bands)."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, WINDOW), WINDOW)[::HOP]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), TRANSFORM)) ** 2
    return spectrum @ filter_bank().T


def features(sound):
    """Return the log-mel features of a clip from where it begins, in stored units; 0 is 60 dB below the loudest."""
    power = powers(sound)
    loud = power.sum(1)
    first = int(np.argmax(loud > loud.max() * 1e-3))
    power = power[first:first + FRAMES]
    power = np.pad(power, ((0, FRAMES - len(power)), (0, 0)))
    decibels = 10 * np.log10(np.maximum(power / power.max(), 1e-12))
    return np.clip(np.rint((decibels + DEPTH) / STEP), 0, DEPTH / STEP).astype(np.uint8)


def family(variant):
    """Return what speakers that sound alike have in common."""
    return variant if re.fullmatch(r"[mf]\d", variant) else re.sub(r"\d+$", "", variant)


def main():
    if not shutil.which("espeak-ng"):
        sys.exit("The synthesiser is missing: install it first (apt-get install espeak-ng).")
    rng = np.random.default_rng(0)
    families = sorted({family(variant) for variant in VARIANTS})
    places = dict(zip(families, rng.permutation(len(families)) % 10))  # 0 and 1 test, 2 validates, the rest trains
    clips, digits, languages, splits, speakers = [], [], [], [], []
    for number, variant in enumerate(VARIANTS):
        place = places[family(variant)]
        split = 2 if place < 2 else 1 if place == 2 else 0
        accent = ACCENTS[rng.integers(len(ACCENTS))]
        for language, words in enumerate((ENGLISH, MANDARIN)):
            for digit, word in enumerate(words):
                voice = f"{'cmn-latn-pinyin' if language else accent}+{variant}"
                sound = say(word, voice, *(int(rng.integers(*ends)) for ends in ((25, 75), (120, 220))))
                clips.append(features(sound))
                digits.append(digit)
                languages.append(language)
                splits.append(split)
                speakers.append(number)
    about = {
        "command": "python experiments/multimodal_speech.py", "numpy": np.__version__,
        "espeak-ng": subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True).stdout.split("  ")[0].split(": ")[1],
        "step_decibels": STEP, "zero_decibels": -DEPTH, "frame_milliseconds": 25, "band_centres_hertz": [
            round(float(value)) for value in 700 * (10 ** (np.linspace(mel(100), mel(TOP), BANDS + 2)[1:-1] / 2595) - 1)],
        "languages": ["English", "Mandarin"], "splits": ["training", "validation", "test"], "speakers": VARIANTS,
    }
    write_arrays(
        RECORD, clips=np.array(clips), digits=np.uint8(digits), languages=np.uint8(languages), splits=np.uint8(splits),
        speakers=np.uint8(speakers), about=np.array(json.dumps(about)))
    print(f"{RECORD.name}: {len(clips)} clips, {np.bincount(splits)} by split, {RECORD.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
