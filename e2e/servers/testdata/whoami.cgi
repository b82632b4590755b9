#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\nid=[%s]\n' "$HTTP_X_USER_ID"
