// Compress is the last function of the forum's sequence: it makes the small file for the forum's page
// from the file of crop. Its result is the report.
//
//	GOOS=wasip1 GOARCH=wasm go build -o compress.wasm .
package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"os"

	"github.com/chandler-broker/chandler/examples/forum/functions/picture"
)

// target is the maximum size of the file, in bytes, if an acceptable quality allows it.
const target = 16 << 10

func main() {
	if err := picture.Main(os.Stdin, os.Stdout, compress); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func compress(folder *picture.Folder, job *picture.Job) error {
	if job.Cropped == "" {
		return errors.New("the parameters need cropped")
	}
	cropped, _, err := folder.Image(job.Cropped)
	if err != nil {
		return err
	}
	file, err := encode(opaque(cropped))
	if err != nil {
		return err
	}
	job.Picture = "pictures/" + job.ID + ".jpg"
	job.Width, job.Height, job.Size = cropped.Bounds().Dx(), cropped.Bounds().Dy(), len(file)
	return folder.Write(job.Picture, file)
}

// opaque draws the image on white, because JPEG would make transparent pixels black.
func opaque(in image.Image) image.Image {
	out := image.NewRGBA(in.Bounds())
	draw.Draw(out, out.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.Draw(out, out.Bounds(), in, in.Bounds().Min, draw.Over)
	return out
}

// encode returns the best JPEG that is small enough.
func encode(in image.Image) ([]byte, error) {
	var file bytes.Buffer
	for _, quality := range []int{85, 70, 55, 40, 25} {
		file.Reset()
		if err := jpeg.Encode(&file, in, &jpeg.Options{Quality: quality}); err != nil {
			return nil, fmt.Errorf("encode the picture: %w", err)
		}
		if file.Len() <= target {
			break
		}
	}
	return file.Bytes(), nil
}
