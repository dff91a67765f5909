"""Exported encoders: written, loaded, and used over a server.

Modules:

    export, description, model_card    what is written with every export
    saved_model, signatures       SavedModels
    onnx_model, onnx_graph        ONNX
    tflite_model                  LiteRT
    compact_weights, shipped      weights alone, and the encoders that come with this package
    loading, encoder              loading of any format
    third_party_model             SavedModels of others
    encoder_from_export, network  the Keras model behind an export
    client, services, latency     TensorFlow Serving
    frame_sizes, local_file, tensorflow_messages    what several of them need
"""
