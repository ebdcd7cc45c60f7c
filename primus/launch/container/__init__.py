"""A job inside of a container: docker, podman or apptainer runs the image, the launcher stays outside. `primus train
--image` begins in prepare.py; render.py is the pure middle, process.py runs what it returns, enter.py is inside."""
