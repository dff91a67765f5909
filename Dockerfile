# The command `stfc3` with the newest TensorFlow.
#
# CPU:  docker build -t stfc3 .
#       docker run --rm -v "$PWD:/data" stfc3 propagate --video=clip.mp4 --mask=mask.png --output_dir=out
# GPU:  docker build -t stfc3-gpu --build-arg EXTRAS=train,onnx,gpu .
#       docker run --rm --gpus all -v "$PWD:/data" stfc3-gpu train --gin_file=stfc3.gin --data=VIDEOS
#
# docs/installation.md says what of this was tested.

FROM python:3.13-slim AS wheel
WORKDIR /source
COPY setup.py pyproject.toml README.md LICENSE requirements-current.lock ./
COPY stfc3_tf stfc3_tf
COPY gin gin
COPY tools tools
RUN pip install --no-cache-dir -c requirements-current.lock setuptools wheel \
    && pip wheel --no-cache-dir --no-deps --no-build-isolation -w /wheels .

FROM python:3.13-slim
ARG EXTRAS=train,onnx
# For names in Chinese, Japanese, Korean and Devanagari in pictures.
RUN apt-get -qq update \
    && apt-get -qq install -y --no-install-recommends fonts-wqy-microhei fonts-lohit-deva \
    && rm -rf /var/lib/apt/lists/*
COPY requirements-current.lock /
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir -c /requirements-current.lock "$(echo /wheels/*.whl)[$EXTRAS]"
WORKDIR /data
ENTRYPOINT ["stfc3"]
CMD ["--help"]
