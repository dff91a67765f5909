"""Installs the stfc3_tf library: `pip install -e .` in a checkout (see README.md)."""

import pathlib
import re

import setuptools

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r"__version__ = '(.+?)'", (HERE / 'stfc3_tf' / '__init__.py').read_text()).group(1)

# One set of versions works together. tensorflow-addons breaks at import from TensorFlow 2.16 on
# (Keras 3) and tensorflow-io has no native operations for the later ones, hence TensorFlow 2.15,
# which has no wheels for Python 3.12.
REQUIREMENTS = [
    # The plain wheel: in `tensorflow-cpu` most custom operations of tensorflow-addons do not load.
    'tensorflow==2.15.1',
    'tensorflow-addons==0.23.0',
    'tensorflow-io==0.36.0',  # 0.37 does not load under TensorFlow 2.15
    'keras-cv==0.9.0',  # the last release that runs on Keras 2
    'numpy>=1.26,<2',  # TensorFlow 2.15 is built against NumPy 1
    'absl-py>=2,<3',
    'gin-config==0.5.0',
    # Not used here; held back because of what imports them.
    'tensorflow-datasets==4.9.4; python_version >= "3.10"',  # of keras-cv; later ones clash over protobuf
    'tensorflow-datasets==4.9.3; python_version < "3.10"',
    'tensorflow-metadata>=1.15,<1.18',  # of tensorflow-datasets; later ones clash over protobuf
    'setuptools<81',  # TensorBoard 2.15 imports pkg_resources, which newer ones deprecate and drop
    # Core, not extras: reading videos is how data comes in, in training and in use.
    'av>=14,<19',  # decoding with time stamps and rotation; no ffmpeg needed on the machine
    'opencv-python-headless>=4.8,<4.12',  # resizing as the benchmarks do; 4.12 needs NumPy 2
    'pillow>=10',  # indexed PNG, the format of the DAVIS benchmark
    'scipy>=1.10',  # MATLAB files of the J-HMDB benchmark, statistics
    'matplotlib>=3.8,<4',  # plots; contours are one artist from 3.8 on
]

BEAM = ['apache-beam>=2.69,<3']
SERVING = ['tensorflow-serving-api>=2.15,<2.16']

EXTRAS = {
    'gpu': ['tensorflow[and-cuda]==2.15.1'],  # CUDA 12 libraries, about 2 GB
    'beam': BEAM,  # tools.prepare_clips on a cluster
    'serving': SERVING,  # gRPC to TensorFlow Serving; REST needs nothing
    'test': [
        'pytest>=8,<10',
        *BEAM,
        *SERVING,
        'moto[s3]>=5.1,<6',  # an S3 server on loopback
        'flask>=3,<4',  # it needs these two; moto[server] brings all of AWS instead
        'flask-cors>=4',
        'boto3>=1.34,<2',  # an independent look into that server
    ],
}

setuptools.setup(
    name='stfc3-tf',
    version=VERSION,
    description='Video correspondence without labels: fully convolutional cycle consistency in TensorFlow',
    long_description=(HERE / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.9,<3.12',
    packages=setuptools.find_packages(include=['stfc3_tf', 'stfc3_tf.*']),
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
)
