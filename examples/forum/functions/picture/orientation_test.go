package picture

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"testing"
)

// exif is a JPEG file with an orientation, in the order of bytes that a camera
// has.
func exif(t testing.TB, order binary.AppendByteOrder, mark string, value uint16) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := jpeg.Encode(&file, image.NewGray(image.Rect(0, 0, 8, 8)), nil); err != nil {
		t.Fatal(err)
	}
	tiff := order.AppendUint32(order.AppendUint16([]byte(mark), 42), 8)
	tiff = order.AppendUint16(tiff, 2) // entries
	tiff = append(tiff, make([]byte, 12)...)
	tiff = order.AppendUint32(order.AppendUint16(order.AppendUint16(tiff, tagOrientation), typeShort), 1)
	tiff = append(order.AppendUint16(tiff, value), 0, 0, 0, 0, 0, 0)
	segment := append([]byte("Exif\x00\x00"), tiff...)
	out := append([]byte{0xff, 0xd8, 0xff, markerAPP1}, binary.BigEndian.AppendUint16(nil, uint16(2+len(segment)))...)
	return append(append(out, segment...), file.Bytes()[2:]...)
}

func TestOrientation(t *testing.T) {
	for value := uint16(1); value <= 8; value++ {
		for mark, order := range map[string]binary.AppendByteOrder{"II": binary.LittleEndian, "MM": binary.BigEndian} {
			file := exif(t, order, mark, value)
			if got := orientation(file); got != int(value) {
				t.Errorf("%s %d is read as %d", mark, value, got)
			}
			if _, err := jpeg.Decode(bytes.NewReader(file)); err != nil {
				t.Errorf("the test's file is not an image: %v", err)
			}
		}
	}
	for name, file := range map[string][]byte{
		"none": encoded(t, "jpeg", 8, 8), "PNG": encoded(t, "png", 8, 8), "nothing": nil,
		"another value": exif(t, binary.BigEndian, "MM", 9), "zero": exif(t, binary.BigEndian, "MM", 0),
	} {
		if got := orientation(file); got != upright {
			t.Errorf("%s is read as %d", name, got)
		}
	}
}

// Every turn brings the corner with the mark to where it belongs. Where the camera
// put the mark, which belongs into the upper left corner, is the tag's meaning.
func TestUpright(t *testing.T) {
	const last = 7
	for value, mark := range map[int]image.Point{
		1: {1, 0}, 2: {last - 1, 0}, 3: {last - 1, last}, 4: {1, last},
		5: {0, 1}, 6: {0, last - 1}, 7: {last, last - 1}, 8: {last, 1},
	} {
		in := image.NewGray(image.Rect(0, 0, last+1, last+1))
		in.SetGray(mark.X, mark.Y, color.Gray{Y: 255})
		out := Upright(in, value)
		for y := range last + 1 {
			for x := range last + 1 {
				white := color.GrayModel.Convert(out.At(x, y)).(color.Gray).Y == 255
				if white != (x == 1 && y == 0) {
					t.Errorf("orientation %d: the point %d, %d is white: %t", value, x, y, white)
				}
			}
		}
	}
}

func FuzzOrientation(f *testing.F) {
	f.Add(exif(f, binary.LittleEndian, "II", 6))
	f.Add(exif(f, binary.BigEndian, "MM", 3))
	f.Fuzz(func(t *testing.T, file []byte) {
		if got := orientation(file); got < 1 || got > 8 {
			t.Errorf("it is read as %d", got)
		}
	})
}
