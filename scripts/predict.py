"""Score the test and validation images of a dataset with a fitted network."""

from headwater.cli import door
from headwater.predict import predict

if __name__ == "__main__":
    door(predict)
