id=[<?= $_SERVER['HTTP_X_USER_ID'] ?? '' ?>]
