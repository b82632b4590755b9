package users

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Save replaces the file in one step: a reader sees the old version or the new one, and a crash
// leaves one of them. A new file is for its owner only (0600). An existing one keeps its owner and its
// owner's and group's right to read; nobody else gets any: hashes can be attacked at leisure.
// Errors: ErrChanged, *fs.PathError, *os.LinkError.
func (e *Editor) Save() (err error) {
	text, err := e.encode()
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(e.path), "."+filepath.Base(e.path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(temp.Name())))
		}
	}()
	_, err = temp.Write(text)
	if err == nil {
		err = e.protect(temp)
	}
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if err := e.checkUnchanged(); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), e.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(e.path))
}

// protect gives the new file the old one's rights. An administrator who runs the command as root
// must not take the file away from the gateway's own user.
func (e *Editor) protect(temp *os.File) error {
	if e.info == nil {
		return temp.Chmod(0o600)
	}
	if err := keepOwner(temp, e.info); err != nil {
		return fmt.Errorf("the file's owner cannot be kept: %w; run the command as the owner or as root", err)
	}
	return temp.Chmod(e.info.Mode().Perm()&0o640 | 0o600)
}

// checkUnchanged compares the file with what was read.
func (e *Editor) checkUnchanged() error {
	_, now, err := readFile(e.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if e.info != nil {
			return ErrChanged
		}
		return nil
	case err != nil:
		return err
	case e.info == nil || !bytes.Equal(now, e.before):
		return ErrChanged
	}
	return nil
}

// syncDir makes the rename survive a power failure.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
