package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// nobody is the user and group of the image's program: not root, and on no machine an account with files.
const nobody = "65532:65532"

// epoch is the time of every file and of the image itself.
var epoch = time.Unix(0, 0).UTC()

// image writes the archive of an image that holds one static program, which is its entry point.
//
// The image has no base: no shell, no C library, no certificates, only the program, /etc and a /tmp for everyone.
//
// Invariant: the same program and reference give the same bytes, on every machine and at every time. So times and
// owners are fixed, and nothing comes from the file but its name and content.
func image(program, reference, archive string) error {
	tag, err := name.NewTag(reference)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	entry := filepath.Base(program)
	files, err := filesOf(entry, content)
	if err != nil {
		return fmt.Errorf("image of %s: %w", program, err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files)), nil })
	if err != nil {
		return fmt.Errorf("image of %s: %w", program, err)
	}
	built, err := mutate.Append(empty.Image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{CreatedBy: "kube image", Created: v1.Time{Time: epoch}},
	})
	if err != nil {
		return fmt.Errorf("image of %s: %w", program, err)
	}
	file, err := built.ConfigFile()
	if err != nil {
		return fmt.Errorf("image of %s: %w", program, err)
	}
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Created = "amd64", "linux", v1.Time{Time: epoch}
	file.Config = v1.Config{Entrypoint: []string{"/" + entry}, User: nobody, WorkingDir: "/"}
	if built, err = mutate.ConfigFile(built, file); err != nil {
		return fmt.Errorf("image of %s: %w", program, err)
	}
	return tarball.WriteToFile(archive, tag, built)
}

// filesOf returns the layer's tar stream.
func filesOf(entry string, content []byte) ([]byte, error) {
	var stream bytes.Buffer
	writer := tar.NewWriter(&stream)
	for _, header := range []*tar.Header{
		{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: epoch},
		{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777, ModTime: epoch},
		{Name: entry, Typeflag: tar.TypeReg, Mode: 0o755, ModTime: epoch, Size: int64(len(content))},
	} {
		if err := writer.WriteHeader(header); err != nil {
			return nil, err
		}
	}
	if _, err := writer.Write(content); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return stream.Bytes(), nil
}
