"""Install the stfc3_tf library: `pip install .`, or `pip install -e .` in a checkout.

Two stacks are tested, and docs/installation.md compares them: TensorFlow 2.15 with its add-ons on
Python 3.9 to 3.11 (requirements-2.15.lock), and the newest TensorFlow on Python 3.11 and later
(requirements-current.lock). Without a lock, Python 3.11 and later get the newest TensorFlow.
"""

import pathlib
import re

import setuptools

HERE = pathlib.Path(__file__).parent
_VERSION_FILE = HERE / 'stfc3_tf' / 'version.py'
VERSION = re.search(r"__version__ = '(.+?)'", _VERSION_FILE.read_text(encoding='utf-8')).group(1)

REQUIREMENTS = [
    # On Python 3.9 and 3.10, only TensorFlow 2.15 is tested. pip chooses the newest after that.
    'tensorflow>=2.15.1,<2.16; python_version < "3.11"',
    'tensorflow>=2.15.1; python_version >= "3.11"',
    # Keras 2 for TensorFlow 2.16 and later. Beside TensorFlow 2.15 it is not used.
    'tf-keras>=2.15.1; python_version >= "3.11"',
    'numpy>=1.26',
    'absl-py>=2',
    'gin-config>=0.5',
    'av>=15',  # decoding with time stamps and rotation; no ffmpeg needed on the machine
    'opencv-python-headless>=4.8',  # resizing as the benchmarks do
    'pillow>=10',  # indexed PNG, the format of the DAVIS benchmark
    'scipy>=1.10',  # MATLAB files of the J-HMDB benchmark
    'pydantic>=2.8,<3',  # checks of JSON files; needs nothing else that is held back here
    # Types as Python 3.10 writes them, in 3.9.
    'eval-type-backport>=0.2; python_version < "3.10"',
    'safetensors>=0.5',  # checkpoints in a format that holds nothing but arrays
    'tqdm>=4.64',  # progress of all commands
    'matplotlib>=3.8',  # plots; contours are one artist from 3.8 on
]

# They load with TensorFlow 2.15 alone.
OLD_TENSORFLOW = ['tensorflow>=2.15.1,<2.16; python_version < "3.12"']
TENSORFLOW_IO = ['tensorflow-io==0.36.0; python_version < "3.12"']  # the last one for 2.15
ADDONS = [
    'tensorflow-addons==0.23.0; python_version < "3.12"',
    'keras-cv==0.9.0; python_version < "3.12"',  # the last release that runs on Keras 2
    # What keras-cv imports; later ones clash over protobuf.
    'tensorflow-datasets==4.9.4; python_version >= "3.10" and python_version < "3.12"',
    'tensorflow-datasets==4.9.3; python_version < "3.10"',
    'tensorflow-metadata>=1.15,<1.18; python_version < "3.12"',
]

TRAIN = [
    'tensorboard>=2.15',
    # TensorBoard imports pkg_resources, which newer ones no longer have.
    'setuptools<81',
]
S3 = [*OLD_TENSORFLOW, *TENSORFLOW_IO]
BEAM = ['apache-beam>=2.69,<3']
SERVING = ['tensorflow-serving-api>=2.15.1']
ONNX = ['onnx>=1.16', 'onnxruntime>=1.17']
TFLITE = ['ai-edge-litert>=1.0']
WEB = ['tornado>=6.4']  # a web server that needs nothing else
FORMATS = [
    'pycocotools>=2.0.8',  # COCO's run lengths
    'pandas>=2',  # DeepLabCut's HDF5 files are frames of pandas,
    'tables>=3.9',  # which stores them through PyTables
    'defusedxml>=0.7',  # XML of strangers, such as CVAT's
]

EXTRAS = {
    'train': TRAIN,  # logs for TensorBoard
    'addons': [
        *OLD_TENSORFLOW,
        *ADDONS,
    ],  # keras-cv's backbone, a test's reference; TensorFlow 2.15 alone
    's3': S3,  # s3:// paths; TensorFlow 2.15 alone
    'beam': BEAM,  # tools.prepare_clips on a cluster
    'serving': SERVING,  # gRPC to TensorFlow Serving; REST needs nothing
    'onnx': ONNX,  # to export with --format=onnx, and to run such exports
    'web': WEB,  # the page of tools.annotate
    'formats': FORMATS,  # labels of COCO, CVAT and DeepLabCut
    'tflite': TFLITE,  # to run exports of --format=tflite where TensorFlow is not installed
}
EXTRAS['all'] = [requirement for extra in EXTRAS.values() for requirement in extra]
EXTRAS['gpu'] = [  # CUDA 12 libraries, about 2 GB
    'tensorflow[and-cuda]>=2.15.1,<2.16; python_version < "3.11"',
    'tensorflow[and-cuda]>=2.15.1; python_version >= "3.11"',
]
EXTRAS['test'] = [
    'pytest>=8',
    'pytest-xdist>=3.6',
    'hypothesis>=6.100',  # damaged inputs
    *TRAIN,
    *ONNX,
    *TFLITE,
    *WEB,
    *FORMATS,
    'moto[s3]>=5.1',  # an S3 server on loopback
    'flask>=3',  # it needs these two; moto[server] brings all of AWS instead
    'flask-cors>=4',
    'boto3>=1.34',  # an independent look into that server
    'nbclient>=0.10',  # runs the notebook
    'ipykernel>=6',
    'supervision>=0.31; python_version >= "3.10"',  # reads files for YOLO back
]
EXTRAS['dev'] = ['ruff>=0.9', 'mypy>=1.14']
EXTRAS['docs'] = [  # the site; tools/build_docs.sh
    'mkdocs>=1.6,<2',
    'mkdocs-material>=9.5,<10',
    'mkdocstrings[python]>=0.26',
]

setuptools.setup(
    name='stfc3-tf',
    version=VERSION,
    description='Video correspondence without labels: cycle consistency in TensorFlow',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.9',
    packages=[
        *setuptools.find_packages(include=['stfc3_tf', 'stfc3_tf.*']),
        'stfc3_tf.tools',
        'stfc3_tf.gin_files',
    ],
    # In a checkout they lie at the top; installed, inside the package.
    package_dir={'stfc3_tf.tools': 'tools', 'stfc3_tf.gin_files': 'gin'},
    package_data={
        'stfc3_tf': ['encoders/*/*', 'encoders/*/*/*', 'samples/*', 'py.typed'],
        'stfc3_tf.annotation.page': ['static/*'],
        'stfc3_tf.gin_files': ['*.gin', '*/*.gin'],
    },
    entry_points={'console_scripts': ['stfc3 = stfc3_tf.commands.console:main']},
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
)
