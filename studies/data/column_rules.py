"""The rules by which it is decided what a column is; `studies data --rules` prints them."""

from studies.data.column_levels import N_KEPT, OTHER, ROWS_PER_LEVEL
from studies.data.column_types import MOSTLY_NUMBERS
from studies.data.target_columns import FEW_WHOLE_NUMBERS

RULES = f"""\
The first rule that fits decides what a column is.

 1. The columns in data.drop and those of data.target, data.group and data.weight are not inputs. A column of numbers
    that is data.order is not an input either, because later rows have values that no earlier row has.
 2. data.categorical and data.numeric decide.
 3. A column without values is dropped. Which texts mean a missing value is data.missing; an empty cell always does.
 4. Digits with leading zeros, as in 007, are codes, which are a category.
 5. A column of numbers is a number, even if it has few different ones. Thousands separators, signs of percent and
    currency are understood. The decimal mark is decided for each column, or by data.decimal. Eight digits such as
    20240131 are dates if all of them are.
 6. Two texts such as yes and no are a boolean, which is a category of two levels.
 7. A column of dates in one format is a date: ISO 8601, 31.01.2024, 01/31/2024, 31/01/2024, 2024/01/31, 31 Jan 2024
    and similar, with or without the time.
 8. A column in which at least {MOSTLY_NUMBERS:.0%} of the cells are numbers is refused, because the other cells are
    mistakes or missing values.
 9. Texts that are all different are identifiers; texts of which more than half are different are free text. Both are
    dropped.
10. Any other column is a category. A category with more than {N_KEPT[0]} levels keeps one level per {ROWS_PER_LEVEL}
    training rows, at least {N_KEPT[0]} and at most {N_KEPT[1]:,}; the rare levels become the level "{OTHER}".

Then constants are dropped, and copies of another column, and whole numbers that are all different if they count up or
down or are called an ID. A column that is named in data.categorical or data.numeric is never dropped.

A missing number or date is the median and a 1 in an input of its own; a missing text is a level of its own. A text that
is not among the levels is read as no level.

The target has classes if it has texts, or at most {FEW_WHOLE_NUMBERS} different whole numbers; otherwise it has
values. data.task decides otherwise, and so does a regression loss.
"""
