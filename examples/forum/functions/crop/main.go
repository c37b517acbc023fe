// Crop is the first function of the forum's sequence: it cuts the middle out of a photograph, as an
// upright square of at most 320 pixels, and writes it without loss.
//
//	GOOS=wasip1 GOARCH=wasm go build -o crop.wasm .
package main

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"os"

	"golang.org/x/image/draw"

	"github.com/chandler-broker/chandler/examples/forum/functions/picture"
)

// side is the picture's width and height in pixels.
const side = 320

func main() {
	if err := picture.Main(os.Stdin, os.Stdout, crop); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func crop(folder *picture.Folder, job *picture.Job) error {
	photograph, held, err := folder.Image(job.Photograph)
	if err != nil {
		return err
	}
	middle := square(photograph.Bounds())
	width := min(side, middle.Dx())
	cropped := image.NewNRGBA(image.Rect(0, 0, width, width))
	draw.BiLinear.Scale(cropped, cropped.Bounds(), photograph, middle, draw.Src, nil)
	var file bytes.Buffer
	if err := png.Encode(&file, picture.Upright(cropped, held)); err != nil {
		return fmt.Errorf("encode the middle: %w", err)
	}
	job.Cropped = "cropped/" + job.ID + ".png"
	return folder.Write(job.Cropped, file.Bytes())
}

// square is the largest square in the middle of bounds.
func square(bounds image.Rectangle) image.Rectangle {
	width := min(bounds.Dx(), bounds.Dy())
	corner := bounds.Min.Add(image.Pt((bounds.Dx()-width)/2, (bounds.Dy()-width)/2))
	return image.Rectangle{Min: corner, Max: corner.Add(image.Pt(width, width))}
}
